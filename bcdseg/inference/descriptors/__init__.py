"""BI-RADS descriptors of a lesion, suggested from its outline and from gray values in and around it."""
