"""Methods that DPAP is compared with."""
