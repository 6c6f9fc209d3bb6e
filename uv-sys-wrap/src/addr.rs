//! Addresses: Rust's types to the kernel's and back, without reading uninitialised or foreign memory.

use std::ffi::c_int;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An IP address as the kernel takes it.
#[repr(C)]
pub(crate) union RawAddr {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl RawAddr {
    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        std::ptr::from_ref(self).cast()
    }
}

impl From<SocketAddr> for RawAddr {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => {
                // SAFETY: all-zero is a valid value of this plain C struct.
                let mut v4: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                v4.sin_family = libc::AF_INET as libc::sa_family_t;
                v4.sin_port = addr.port().to_be();
                v4.sin_addr.s_addr = u32::from_ne_bytes(addr.ip().octets());
                RawAddr { v4 }
            }
            SocketAddr::V6(addr) => {
                // SAFETY: all-zero is a valid value of this plain C struct.
                let mut v6: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                v6.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                v6.sin6_port = addr.port().to_be();
                v6.sin6_addr.s6_addr = addr.ip().octets();
                v6.sin6_flowinfo = addr.flowinfo();
                v6.sin6_scope_id = addr.scope_id();
                RawAddr { v6 }
            }
        }
    }
}

/// How long the kernel's form of an address is.
pub(crate) fn raw_len(addr: &SocketAddr) -> libc::socklen_t {
    let len = match addr {
        SocketAddr::V4(_) => size_of::<libc::sockaddr_in>(),
        SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>(),
    };
    len as libc::socklen_t
}

/// The address that the kernel filled in, if it is an IP address.
pub(crate) fn from_raw(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is larger than and aligned for any address, all bytes are initialised,
            // and the family says which one it holds.
            let v4 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*std::ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// The name of a Unix socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnixName<'a> {
    /// A file.
    Path(&'a Path),
    /// A name in Linux's abstract namespace, without the leading zero byte. Elsewhere it is refused.
    Abstract(&'a [u8]),
}

/// A path that begins with a zero byte, which no file's does, is an abstract name: so are they reported, too.
impl<'a> From<&'a Path> for UnixName<'a> {
    fn from(path: &'a Path) -> Self {
        match path.as_os_str().as_bytes() {
            [0, name @ ..] => UnixName::Abstract(name),
            _ => UnixName::Path(path),
        }
    }
}

impl<'a> From<&'a std::path::PathBuf> for UnixName<'a> {
    fn from(path: &'a std::path::PathBuf) -> Self {
        path.as_path().into()
    }
}

impl<'a> From<&'a str> for UnixName<'a> {
    fn from(path: &'a str) -> Self {
        Path::new(path).into()
    }
}

/// A Unix socket's name as the kernel takes it.
pub(crate) struct RawUnix {
    addr: libc::sockaddr_un,
    name_len: usize,
}

impl RawUnix {
    /// `None` if the name is empty, too long, holds a zero byte where it must not, or is abstract on a
    /// system without such names.
    pub(crate) fn new(name: UnixName<'_>) -> Option<RawUnix> {
        // SAFETY: all-zero is a valid value of this plain C struct.
        let mut addr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
        let (bytes, skip) = match name {
            UnixName::Path(path) => (path.as_os_str().as_bytes(), 0),
            UnixName::Abstract(_) if cfg!(not(target_os = "linux")) => return None,
            UnixName::Abstract(bytes) => (bytes, 1),
        };
        let fits = bytes.len() < addr.sun_path.len();
        if bytes.is_empty() || !fits || (skip == 0 && bytes.contains(&0)) {
            return None;
        }
        for (place, byte) in addr.sun_path[skip..].iter_mut().zip(bytes) {
            *place = *byte as libc::c_char;
        }
        Some(RawUnix {
            addr,
            name_len: skip + bytes.len(),
        })
    }

    /// The name with its leading zero byte if it is abstract; what libuv takes.
    pub(crate) fn name(&self) -> (*const libc::c_char, usize) {
        (self.addr.sun_path.as_ptr(), self.name_len)
    }

    /// The whole address and its length; what the kernel takes.
    pub(crate) fn raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        let path_at = std::mem::offset_of!(libc::sockaddr_un, sun_path);
        let is_abstract = self.addr.sun_path[0] == 0;
        let len = if is_abstract {
            path_at + self.name_len
        } else {
            size_of::<libc::sockaddr_un>()
        };
        (
            std::ptr::from_ref(&self.addr).cast(),
            len as libc::socklen_t,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(addr: SocketAddr) -> Option<SocketAddr> {
        let raw = RawAddr::from(addr);
        // SAFETY: all-zero is a valid value of this plain C struct.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        // SAFETY: the storage is longer than any address, and the source is as long as `raw_len` says.
        unsafe {
            let to: *mut u8 = (&raw mut storage).cast();
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast(), to, raw_len(&addr) as usize);
        }
        from_raw(&storage)
    }

    proptest! {
        #[test]
        fn addresses_survive_the_round_trip(
            v4: [u8; 4], v6: [u8; 16], port: u16, flow: u32, scope: u32,
        ) {
            let v4 = SocketAddr::from((v4, port));
            prop_assert_eq!(there_and_back(v4), Some(v4));
            let v6 = SocketAddr::from(SocketAddrV6::new(v6.into(), port, flow, scope));
            prop_assert_eq!(there_and_back(v6), Some(v6));
        }
    }

    #[test]
    fn unix_names_are_checked() {
        assert!(RawUnix::new("".into()).is_none());
        assert!(RawUnix::new("a\0b".into()).is_none());
        let long = "x".repeat(200);
        assert!(RawUnix::new(long.as_str().into()).is_none());
        assert_eq!(RawUnix::new("/tmp/a".into()).unwrap().name().1, 6);
        assert_eq!(UnixName::from("\0ab"), UnixName::Abstract(b"ab"));
        let name = RawUnix::new(UnixName::Abstract(b"ab"));
        assert_eq!(
            name.map(|name| name.name().1),
            cfg!(target_os = "linux").then_some(3)
        );
    }
}
