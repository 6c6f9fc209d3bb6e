use rotor_net::rpc::service;

service! { fn get(path: String) -> u64; }

service! { pub mod a { fn get(path: String) -> u64 { 7 } } }

service! { pub mod b { pub fn get(path: String) -> u64; } }

service! { pub mod c { fn get<T>(path: T) -> u64; } }

service! { pub mod d { fn get(&self, path: String) -> u64; } }

service! { pub mod e { fn get(path: &str) -> u64; } }

service! { pub mod f { fn get(path: impl Into<String>) -> u64; } }

service! { pub mod g { fn get(chunks: stream u8, path: String) -> u64; } }

service! { pub mod h { fn get(chunks: stream u8, more: stream u8) -> u64; } }

service! { pub mod i { oneway fn get(path: String) -> u64; } }

service! { pub mod j { oneway fn put(chunks: stream u8); } }

service! { pub mod k { async fn get(path: String) -> u64; } }

service! { pub mod l { twoway fn get(path: String) -> u64; } }

service! { pub mod m { #[cfg(unix)] fn get(path: String) -> u64; } }

service! { pub mod n { #[version(0)] fn get(path: String) -> u64; } }

service! { pub mod o { #[older(1)] #[version(2)] fn get(path: String) -> u64; } }

service! { pub mod p { #[name = ""] fn get(path: String) -> u64; } }

service! { pub mod q { fn get(path: Vec<stream u8>) -> u64; } }

service! { pub mod r { fn get(path: String) -> ! ; } }

service! { pub mod s { fn get(path: String) -> u64 } }

service! { pub mod t { fn get(path: String) -> u64; } pub mod u {} }

service! { pub mod v { fn get(path: [u8]); } }

fn main() {}
