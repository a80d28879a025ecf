//! The TCP/IP library OS: smoltcp over the rings, sockets that bind their own filter.
