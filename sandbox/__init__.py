"""A local stand-in for Discord: gateway, REST and a page in the browser. Imports none of our other packages."""
