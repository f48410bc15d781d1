"""How Onefold is run: servers for a laptop, images, manifests, dashboards."""
