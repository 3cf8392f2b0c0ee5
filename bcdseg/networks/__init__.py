"""Networks: encoder, decoder, mask head, class head. Tensors only, no images."""
