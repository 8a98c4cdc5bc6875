//! Work that is carried to its end, whoever stops waiting for it.
//!
//! A peer that hangs up does not stop what it began between intent and certificate, and a fault of ours costs one
//! request and no other. A task for each request would give both, and has its price: another thread is woken for it,
//! and the connection at its end. So the work runs in the task that waits for it, and gets a task of its own only when
//! that one lets go of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work, and what it comes to: its value, or what it panicked with. Not to be polled again after that.
pub(crate) struct Carried<T: Send + 'static>(Option<Work<T>>);

impl<T: Send + 'static> Carried<T> {
    /// Nothing runs before the first poll.
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<T: Send + 'static> Future for Carried<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        // What it shares with others it shares under locks or as a whole, as with a task of its own.
        let ended = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(value)) => Ok(value),
            Err(panic) => Err(panic),
        };
        self.0 = None;
        Poll::Ready(ended)
    }
}

impl<T: Send + 'static> Drop for Carried<T> {
    fn drop(&mut self) {
        // Without a runtime the process is ending; what is left behind then is what a crash leaves.
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            drop(runtime.spawn(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_is_finished() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, finished) = oneshot::channel();
        let work = Carried::new(async move {
            wait.await.unwrap();
            done.send(7).unwrap();
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        go.send(()).unwrap();
        assert_eq!(finished.await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_panics_ends_and_is_not_begun_again() {
        async fn fail() -> u8 {
            tokio::task::yield_now().await;
            panic!("a fault of ours");
        }
        let panic = Carried::new(fail()).await.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"a fault of ours"));
        assert_eq!(Carried::new(async { 8 }).await.unwrap(), 8);
    }
}
