"""What the server and the page have in common: who may send requests, how many, and for how long."""
