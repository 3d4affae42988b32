// Exchanges the token for a session: it is in no address, and no script can read the cookie.
const said = document.getElementById("said");

document.getElementById("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = document.getElementById("token").value.trim();
  try {
    const answer = await fetch("/login", {
      method: "POST",
      headers: { Authorization: `Bearer ${token}` },
    });
    if (answer.ok) {
      location.replace("/");
    } else {
      said.textContent = "This is not the token.";
    }
  } catch {
    said.textContent = "The server does not answer.";
  }
});
