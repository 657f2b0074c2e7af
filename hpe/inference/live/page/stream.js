"use strict";
let source = null;
let ended = false;

function connect() {
  if (ended || source) return;
  source = new EventSource("events");
  source.onopen = () => {
    state("live", true);
    element("picture").src = "picture.mjpg?" + Date.now();
  };
  source.onmessage = (event) => show(JSON.parse(event.data));
  source.onerror = () => state("no connection, trying again", false);
  source.addEventListener("end", () => {
    ended = true;
    disconnect();
    element("neutral").disabled = true;
    state("ended", false);
  });
}

function disconnect() {
  if (source) source.close();
  source = null;
}

element("picture").onload = () => { element("picture").hidden = false; element("blank").hidden = true; };
element("neutral").onclick = async () => {
  const answer = await fetch("neutral", { method: "POST" });
  if (!answer.ok) state(await answer.text(), false);
};
// A browser opens few connections to one server: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) return connect();
  disconnect();
  if (!ended) element("picture").removeAttribute("src");
});
window.addEventListener("load", connect);
