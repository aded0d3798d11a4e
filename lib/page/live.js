// The same page again, every five seconds, while somebody looks at it.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    const open = [...document.querySelectorAll("details[open]")].map((d) => d.id);
    document.querySelector("main").replaceWith(fresh);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    document.body.classList.toggle("lost", !answer.ok);
  } catch {
    document.body.classList.add("lost");
  }
}, 5000);
