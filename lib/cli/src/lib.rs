//! The face of every program: flags, settings, configuration files, help, completions, exit codes.
