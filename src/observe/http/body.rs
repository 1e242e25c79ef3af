//! Bodies of answers: whole, or a stream of chunks from a bounded queue.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

/// Chunks that may wait for a reader; whoever writes then waits.
const CHUNKS_MAX: usize = 4;

/// Where the chunks of a stream are written.
pub type Sender = mpsc::Sender<Bytes>;

/// The body of an answer.
pub struct Body {
    content: Content,
    /// Tells the connection when the answer is over.
    _answering: Option<Answering>,
}

enum Content {
    Whole(Bytes),
    Stream { chunks: mpsc::Receiver<Bytes>, _counted: Counted },
}

/// One of the streams that are open.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// While it lives, its connection is answering; then it waits for a request again.
pub(super) struct Answering(pub Rc<Cell<Option<u64>>>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Some(crate::clock::mono_ms()));
    }
}

impl Body {
    /// These bytes and no more.
    pub fn whole(bytes: impl Into<Bytes>) -> Body {
        Body { content: Content::Whole(bytes.into()), _answering: None }
    }

    pub(super) fn tells(self, answering: Answering) -> Body {
        Body { _answering: Some(answering), ..self }
    }
}

pub(super) fn stream(open: Rc<Cell<usize>>) -> (Sender, Body) {
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    open.set(open.get() + 1);
    (sender, Body { content: Content::Stream { chunks, _counted: Counted(open) }, _answering: None })
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Stream { chunks, .. } => {
                chunks.poll_recv(context).map(|chunk| chunk.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.content, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { .. } => SizeHint::default(),
        }
    }
}
