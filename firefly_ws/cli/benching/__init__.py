"""What `firefly-ws bench` measures, how, and how it is shown."""
