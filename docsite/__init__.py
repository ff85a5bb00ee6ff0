"""What `make docs` writes into the documentation: everything that the code itself can tell.

A page has a line such as `<!-- generated: commands -->` where such a part belongs. It is filled in when the site is
built and stored nowhere, so it cannot lag behind. Not part of what is installed.
"""
