use rotor_net::rpc::service;

pub struct GetV1;
pub struct Get;
pub struct Client;

service! { pub mod a {} }

service! {
    pub mod b {
        fn get(path: String) -> u64;
        fn get(path: String) -> u64;
        fn list_all();
        fn list__all();
        fn service();
        fn connect();
        fn _1();
        fn __();
        fn self_();
    }
}

service! {
    pub mod c {
        fn get(path: String, path: String) -> u64;
        fn put(chunks: String, chunks: stream u8) -> u64;
    }
}

service! {
    pub mod d {
        #[version(2)]
        #[older(2, GetV1)]
        fn get(path: String) -> u64;
        #[version(2)]
        #[older(3, GetV1)]
        fn put(path: String) -> u64;
        #[name = "get"]
        #[version(2)]
        fn fetch(path: String) -> u64;
    }
}

// Types of one's own that would be taken for emitted ones.
service! {
    pub mod e {
        fn get(how: Get) -> Vec<Client>;
        fn right(how: super::Get) -> Vec<super::Client>;
    }
}

fn main() {}
