//! Closing a connection whose peer is still sending: the last answer must not be lost.
//!
//! A socket that is closed with octets unread makes the system reset the connection, and the reset can overtake the
//! answer: a client would see a broken connection where it was told that its message is too large (RFC 9112 9.6). So
//! after the last answer of such a connection the rest is read and thrown away, for a short while.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How long the rest is waited for.
const LONGEST: Duration = Duration::from_secs(2);
/// Octets that are thrown away at most.
const MOST: usize = 1024 * 1024;

/// A stream that lingers on shutdown if its flag is up.
pub(crate) struct Lingering<T> {
    inner: T,
    unread: Arc<AtomicBool>,
    closing: Option<Closing>,
}

struct Closing {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<T> Lingering<T> {
    /// Wraps `inner`; `unread` is raised by whoever answers without having read everything.
    pub(crate) const fn new(inner: T, unread: Arc<AtomicBool>) -> Self {
        Self { inner, unread, closing: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let this = &mut *self;
        if this.closing.is_none() {
            let shut = std::task::ready!(Pin::new(&mut this.inner).poll_shutdown(cx));
            if shut.is_err() || !this.unread.load(Ordering::Relaxed) {
                return Poll::Ready(shut);
            }
        }
        let closing = this
            .closing
            .get_or_insert_with(|| Closing { deadline: Box::pin(tokio::time::sleep(LONGEST)), left: MOST });
        let mut scratch = [0u8; 4096];
        while closing.deadline.as_mut().poll(cx).is_pending() && closing.left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    closing.left = closing.left.saturating_sub(buffer.filled().len());
                }
                // The end, or a connection that is broken already.
                Poll::Ready(Ok(()) | Err(_)) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
