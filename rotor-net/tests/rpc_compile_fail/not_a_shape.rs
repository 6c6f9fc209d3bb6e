use rotor_net::rpc::{Shape, service};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub struct Path(String);

#[derive(Serialize, Deserialize, Shape)]
pub struct Content {
    of: Path,
}

service! {
    pub mod files {
        fn get(path: Path) -> Content;
        fn list_all() -> Vec<Path>;
    }
}

fn main() {}
