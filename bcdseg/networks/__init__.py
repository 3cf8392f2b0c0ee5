"""Networks of encoder, decoder, mask head and class head, from tensors to tensors."""
