"""Archives of scans, predicted by the workers of Ray on one machine or on a cluster (extra ``ray``)."""
