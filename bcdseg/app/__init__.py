"""Local web page that segments and measures scans in a browser on the same machine (extra ``app``)."""
