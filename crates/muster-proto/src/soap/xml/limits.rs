//! What one message may cost; each limit stops one kind of hostile document.

/// Limits on one document. A value beyond a limit is refused, the exact value is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the document in bytes: caps everything else.
    pub bytes: usize,
    /// Nested elements, the root being 1: stops deep nesting. Never more than [`Limits::DEPTH_MAX`].
    pub depth: usize,
    /// Elements in the document: stops tree building out of proportion to the input.
    pub elements: usize,
    /// Attributes of one element, namespace declarations not counted: stops quadratic duplicate checks.
    pub attributes: usize,
    /// Namespace declarations of one element: stops namespace floods.
    pub namespaces: usize,
    /// Character data of one element in bytes.
    pub text: usize,
}

impl Limits {
    /// What a server may raise [`Limits::bytes`] to: 256 KiB (a key attestation request fits many times).
    pub const REQUEST_BYTES_MAX: usize = 256 * 1024;

    /// Depth that is kept whatever [`Limits::depth`] says, since dropping a tree recurses.
    pub const DEPTH_MAX: usize = 128;

    /// For what callers send us. A Windows renewal request has 7 KB of base64 in one element.
    pub const REQUEST: Self = Self {
        bytes: 64 * 1024,
        depth: 32,
        elements: 2_000,
        attributes: 32,
        namespaces: 16,
        text: 48 * 1024,
    };

    /// For answers to a request of ours: a policy answer has about 50 elements and 4 KB for each template, and
    /// some directories hold hundreds of templates.
    pub const RESPONSE: Self = Self {
        bytes: 8 * 1024 * 1024,
        depth: 32,
        elements: 200_000,
        attributes: 32,
        namespaces: 16,
        text: 1024 * 1024,
    };

    /// The limits for requests with another size: at most [`Limits::REQUEST_BYTES_MAX`], and three quarters of
    /// it in one element.
    #[must_use]
    pub const fn request_with_bytes(bytes: usize) -> Self {
        let bytes = if bytes > Self::REQUEST_BYTES_MAX { Self::REQUEST_BYTES_MAX } else { bytes };
        Self { bytes, text: bytes / 4 * 3, ..Self::REQUEST }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUEST
    }
}
