"""recproxy: a SIP recording proxy that announces, encrypts, tags and shreds on time."""
