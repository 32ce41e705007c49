//! The verbs of the ends of pipes, written once for ends that go both ways and for those that go one way.

macro_rules! sending {
    ($end:ident<$($all:ident),*>, $message:ident) => {
        /// Sending.
        impl<$($all: Message),*> $end<$($all),*> {
            /// Sends a value, waiting for room as long as it takes.
            ///
            /// Arrays, queues and locks in it go along by descriptor: they live on at the other end even if this process ends before the message is received.
            ///
            /// # Errors
            /// [`SendError::Closed`], [`SendError::Encode`], [`SendError::TooManyDescriptors`], [`SendError::System`], each with the value.
            pub fn send(&self, value: $message) -> Result<(), SendError<$message>> {
                self.channel.send(value, &[], Wait::Forever)
            }

            /// Sends a value if there is room for the beginning of it now.
            ///
            /// # Errors
            /// [`SendError::Full`]; [`SendError::Begun`] if there is room for a part only; and those of [`send`](Self::send).
            pub fn try_send(&self, value: $message) -> Result<(), SendError<$message>> {
                self.channel.send(value, &[], Wait::No)
            }

            /// Sends a value, waiting for room for `timeout` at most.
            ///
            /// # Errors
            /// [`SendError::Timeout`], [`SendError::Begun`]; and those of [`send`](Self::send).
            pub fn send_timeout(
                &self,
                value: $message,
                timeout: Duration,
            ) -> Result<(), SendError<$message>> {
                self.channel.send(value, &[], Wait::within(timeout))
            }

            /// Sends a value with copies of descriptors (`SCM_RIGHTS`), up to 253 with those of its arrays.
            ///
            /// # Errors
            /// As for [`send`](Self::send).
            pub fn send_with_descriptors(
                &self,
                value: $message,
                descriptors: &[BorrowedFd<'_>],
            ) -> Result<(), SendError<$message>> {
                self.channel.send(value, descriptors, Wait::Forever)
            }

            /// Sends raw bytes, of any length, as one message, waiting for room as long as it takes.
            ///
            /// # Errors
            /// [`SendError::Closed`], [`SendError::System`].
            pub fn send_bytes(&self, bytes: &[u8]) -> Result<(), SendError<()>> {
                self.channel.send_bytes(bytes, &[], Wait::Forever)
            }

            /// Sends raw bytes as one message, waiting for room for `timeout` at most.
            ///
            /// # Errors
            /// [`SendError::Timeout`], [`SendError::Begun`]; and those of [`send_bytes`](Self::send_bytes).
            pub fn send_bytes_timeout(
                &self,
                bytes: &[u8],
                timeout: Duration,
            ) -> Result<(), SendError<()>> {
                self.channel.send_bytes(bytes, &[], Wait::within(timeout))
            }

            /// Sends what is left of a message for which the time was over ([`SendError::Begun`]).
            ///
            /// # Errors
            /// [`SendError::Timeout`], [`SendError::Closed`], [`SendError::System`].
            pub fn flush(&self, timeout: Duration) -> Result<(), SendError<()>> {
                self.channel.flush(Wait::within(timeout))
            }
        }
    };
}

macro_rules! receiving {
    ($end:ident<$($all:ident),*>, $message:ident) => {
        /// Receiving.
        impl<$($all: Message),*> $end<$($all),*> {
            /// Receives a value, waiting for it as long as it takes. Descriptors that were sent with it are closed.
            ///
            /// # Errors
            /// [`RecvError::Closed`] is the end of file, also when the peer was killed; the others are told at [`RecvError`].
            pub fn recv(&self) -> Result<$message, RecvError> {
                Ok(self.channel.recv(Wait::Forever)?.0)
            }

            /// Receives a value if there is one now.
            ///
            /// # Errors
            /// [`RecvError::Empty`]; and those of [`recv`](Self::recv).
            pub fn try_recv(&self) -> Result<$message, RecvError> {
                Ok(self.channel.recv(Wait::No)?.0)
            }

            /// Receives a value, waiting for it for `timeout` at most.
            ///
            /// # Errors
            /// [`RecvError::Timeout`]; and those of [`recv`](Self::recv).
            pub fn recv_timeout(&self, timeout: Duration) -> Result<$message, RecvError> {
                Ok(self.channel.recv(Wait::within(timeout))?.0)
            }

            /// Receives a value and the descriptors that were sent with it.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv); [`RecvError::DescriptorsLost`].
            pub fn recv_with_descriptors(&self) -> Result<($message, Vec<OwnedFd>), RecvError> {
                self.channel.recv(Wait::Forever)
            }

            /// Receives a message of raw bytes, waiting for it as long as it takes.
            ///
            /// # Errors
            /// As for [`recv`](Self::recv).
            pub fn recv_bytes(&self) -> Result<Vec<u8>, RecvError> {
                Ok(self.channel.recv_bytes(Wait::Forever)?.0)
            }

            /// Receives a message of raw bytes, waiting for it for `timeout` at most.
            ///
            /// # Errors
            /// As for [`recv_timeout`](Self::recv_timeout).
            pub fn recv_bytes_timeout(&self, timeout: Duration) -> Result<Vec<u8>, RecvError> {
                Ok(self.channel.recv_bytes(Wait::within(timeout))?.0)
            }

            /// Receives a message of raw bytes into the beginning of `buffer`, without a copy between; returns its length.
            ///
            /// # Errors
            /// [`RecvError::TooSmall`] with the length that is needed, and the message stays; and those of [`recv`](Self::recv).
            pub fn recv_into(&self, buffer: &mut [u8]) -> Result<usize, RecvError> {
                self.channel.recv_into(buffer, Wait::Forever)
            }

            /// Waits until a message begins to come, or the end of file, for `timeout` at most; `false` if nothing came.
            ///
            /// # Errors
            /// [`RecvError::System`].
            pub fn poll(&self, timeout: Duration) -> Result<bool, RecvError> {
                self.channel.poll(Wait::within(timeout))
            }
        }
    };
}

pub(super) use {receiving, sending};
