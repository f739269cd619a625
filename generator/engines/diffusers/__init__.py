"""Open-weight models through diffusers: one small adapter a family over one shared runner."""
