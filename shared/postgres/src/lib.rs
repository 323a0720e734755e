//! PostgreSQL as a program: find it, initialise, configure, ask.
