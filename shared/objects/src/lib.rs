//! Plan steps become Kubernetes objects; pure, cannot fail.
