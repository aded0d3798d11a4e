// The same page again, every five seconds, while somebody looks at it.
setInterval(async () => {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.origin + location.pathname, { credentials: "same-origin" });
    if (!answer.ok) throw answer;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    become(document.querySelector("main"), fresh.querySelector("main"));
    document.title = fresh.title;
    document.body.classList.remove("lost");
  } catch {
    document.body.classList.add("lost");
  }
}, 5000);

// Only what differs changes: focus, selection and scrolling stay where they are,
// and an alarm that goes on is not read out again.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) return void (old.data = fresh.data);
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const now = [...old.childNodes], next = [...fresh.childNodes];
  next.forEach((node, i) => (i < now.length ? become(now[i], node) : old.append(node)));
  now.slice(next.length).forEach((node) => node.remove());
}
