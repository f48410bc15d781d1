"""Where facts and what follows from them are kept: small ports, and an implementation per database."""
