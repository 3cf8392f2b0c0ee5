"""From a network and an image to an answer: outline, class, lesions and what to doubt about them."""
