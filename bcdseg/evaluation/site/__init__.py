"""Decision rules of a model fitted to a site."""

from bcdseg.evaluation.site.fit_site import SiteFit, fit_class_rules, fit_site, keep_rules

__all__ = ["SiteFit", "fit_class_rules", "fit_site", "keep_rules"]
