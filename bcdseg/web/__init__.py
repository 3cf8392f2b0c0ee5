"""Common parts of the HTTP server and the page: host names, limits on connections, and shutdown."""
