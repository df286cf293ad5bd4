"""Manager and peer: which parts make which node. They do not know HTTP."""
