"""A package that adds an encoder, a head and a mask loss to bcdseg."""
