"""The network: encoder, decoder, mask head, class head. Knows tensors, not images."""
