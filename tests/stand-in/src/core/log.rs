//! Mode `log`: what Docker's syslog driver sends over TCP, into one file for each container.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;

const DIRECTORY: &str = "/var/log/docker";

pub fn run(port: u16) -> Result<()> {
    std::fs::create_dir_all(DIRECTORY)?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("listening");
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || keep(stream));
    }
    Ok(())
}

/// `<30>Nov 24 04:00:00 host ui[123]: text`: the tag names the file.
fn keep(stream: TcpStream) {
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let file = OpenOptions::new().create(true).append(true).open(format!("{DIRECTORY}/{}.log", tag(&line)));
        if let Ok(mut file) = file {
            let _ = writeln!(file, "{line}");
        }
    }
}

fn tag(line: &str) -> &str {
    let word = line.split(": ").next().unwrap_or_default().rsplit(' ').next().unwrap_or_default();
    let name = word.split('[').next().unwrap_or_default();
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if plain { name } else { "unknown" }
}

#[cfg(test)]
mod tests {
    #[test]
    fn tags() {
        assert_eq!(super::tag("<30>Nov 24 04:00:00 host ui[123]: text: more"), "ui");
        assert_eq!(super::tag("<30>Nov 24 04:00:00 host ../x[123]: text"), "unknown");
        assert_eq!(super::tag(""), "unknown");
    }
}
