"""The web page: scans in, outlines and sizes out, in a browser on the same machine (extra ``app``)."""
