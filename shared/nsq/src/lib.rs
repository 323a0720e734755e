//! A client for NSQ: codec, producer, consumer.
