"""Extensions of the protocol (RFC 6455 §9): their grammar, their negotiation, one file each; no frames."""
