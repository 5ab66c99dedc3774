"""Tools of the repository: they write what the package ships, and are not shipped themselves."""
