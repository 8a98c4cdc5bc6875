//! The enrollment client: policy, enrollment, renewal, several endpoints with fail-over.
