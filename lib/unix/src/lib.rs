//! The kernel, as the daemons of sluice use it.
