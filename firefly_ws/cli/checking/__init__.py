"""The rules of `firefly-ws check`, and the peer of bytes that asks them."""
