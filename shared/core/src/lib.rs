//! Desired and observed state, plan and commit; pure.
