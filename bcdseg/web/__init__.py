"""Common parts of the HTTP server and the page: who may send requests, how many and how large, and an orderly shutdown."""
