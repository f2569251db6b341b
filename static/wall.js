// A wall that is left to itself: looks for new posts, turns pages on a large screen, and goes on without a network.
(() => {
  "use strict";
  const LOOK_SECONDS = 10, LONGEST_WAIT_SECONDS = 60, GIVE_UP_SECONDS = 20, SILENT_SECONDS = 60;
  const PAGE_SECONDS = 12, CLOCK_SECONDS = 20;
  const root = document.documentElement, list = document.getElementById("posts"), state = document.getElementById("state");
  const address = document.body.dataset.posts;
  const wide = window.matchMedia("(min-width: 701px) and (min-height: 400px)");
  let known = new Map(), source = "", first = 0, next = 0, reached = Date.now(), wait = LOOK_SECONDS, turning = 0;
  // How far the server's clock is ahead; null until it has told the time.
  let ahead = null;

  const posts = () => [...list.querySelectorAll(".post")];

  // --- What is shown ---

  function now() {
    return Date.now() + (ahead || 0);
  }

  // Posts also leave while there is no network; a screen whose clock is wrong shows none too few.
  function isOver(post) {
    return ahead !== null && post.dataset.until && Date.parse(post.dataset.until) <= now();
  }

  function fits() {
    return list.scrollHeight <= list.parentElement.clientHeight + 1;
  }

  // Shows as many posts as fit from the one at `first`; on a page that scrolls, all of them.
  function lay() {
    root.classList.toggle("large", wide.matches);
    for (const post of posts().filter(isOver)) post.remove();
    const all = posts();
    if (!wide.matches) {
      for (const post of all) post.hidden = false;
      return;
    }
    if (first >= all.length) first = 0;
    for (const post of all) {
      post.hidden = true;
      post.classList.remove("is-alone");
    }
    next = first;
    while (next < all.length) {
      all[next].hidden = false;
      if (!fits() && next > first) {
        all[next].hidden = true;
        break;
      }
      next += 1;
    }
    // One that has the screen to itself shows more of its text.
    if (next - first === 1) all[first].classList.add("is-alone");
  }

  function turn() {
    first = next >= posts().length ? 0 : next;
    lay();
  }

  function startTurning() {
    clearInterval(turning);
    turning = setInterval(turn, PAGE_SECONDS * 1000);
  }

  // --- Times and pictures ---

  function ago(moment) {
    const minutes = Math.round((now() - moment) / 60000);
    if (minutes < 1) return "now";
    if (minutes < 60) return `${minutes} min ago`;
    if (minutes < 48 * 60) return `${Math.round(minutes / 60)} h ago`;
    return new Date(moment).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
  }

  function tellTimes() {
    for (const time of list.querySelectorAll("time")) {
      const moment = Date.parse(time.dateTime);
      if (!Number.isNaN(moment)) time.textContent = ago(moment);
    }
  }

  function dropPicture(picture) {
    picture.remove();
    lay();
  }

  function watchPictures() {
    for (const picture of list.querySelectorAll("img")) {
      if (picture.complete && !picture.naturalWidth) dropPicture(picture);
      else picture.onerror = () => dropPicture(picture);
    }
  }

  // --- New posts ---

  // Only once the page can be had: a screen that shows an error stays so all night.
  async function loadAnew() {
    const answer = await fetch(location.href, { cache: "no-cache", credentials: "omit" });
    if (answer.ok) location.reload();
  }

  // Posts that did not change keep their element, and with it a picture that is loaded already.
  async function take(text) {
    const found = new DOMParser().parseFromString(text, "text/html").getElementById("posts");
    if (!found) return;
    if (found.dataset.looks !== list.dataset.looks) {
      await loadAnew();
      return;
    }
    const before = new Map(posts().map((post) => [post.id, post]));
    const sources = new Map();
    let newest = -1;
    const rows = [...found.children].map((row, number) => {
      sources.set(row.id, row.outerHTML);
      const old = before.get(row.id);
      if (old && known.get(row.id) === row.outerHTML) return old;
      const fresh = document.importNode(row, true);
      if (row.id && !known.has(row.id)) {
        fresh.classList.add("is-new");
        fresh.addEventListener("animationend", () => fresh.classList.remove("is-new"), { once: true });
        if (newest < 0) newest = number;
      }
      return fresh;
    });
    known = sources;
    list.replaceChildren(...rows);
    if (newest >= 0) {
      // Pinned posts stand before it, and would hide it where they fill the screen.
      first = newest;
      startTurning();
    }
    tellTimes();
    watchPictures();
    lay();
  }

  function say(sentence) {
    state.textContent = sentence;
    state.hidden = !sentence;
    lay();
  }

  function clock(moment) {
    return new Date(moment).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  }

  async function look() {
    const ending = new AbortController();
    const giveUp = setTimeout(() => ending.abort(), GIVE_UP_SECONDS * 1000);
    try {
      const answer = await fetch(address, { cache: "no-cache", signal: ending.signal, credentials: "omit" });
      if (answer.status === 404) {
        list.replaceChildren();
        known = new Map();
        source = "";
        say("This wall's address is no longer valid.");
      } else if (answer.ok) {
        const text = await answer.text();
        const told = Date.parse(answer.headers.get("Date"));
        if (!Number.isNaN(told)) ahead = told - Date.now();
        if (!state.hidden) say("");
        if (text !== source) await take(text);
        source = text;
      } else {
        throw new Error(String(answer.status));
      }
      reached = Date.now();
      wait = LOOK_SECONDS;
    } catch {
      wait = Math.min(wait * 2, LONGEST_WAIT_SECONDS);
      if (Date.now() - reached >= SILENT_SECONDS * 1000) say(`No connection since ${clock(reached)}.`);
    } finally {
      clearTimeout(giveUp);
      setTimeout(look, wait * 1000);
    }
  }

  for (const post of posts()) known.set(post.id, post.outerHTML);
  tellTimes();
  watchPictures();
  lay();
  startTurning();
  wide.addEventListener("change", lay);
  window.addEventListener("resize", lay);
  setInterval(() => {
    tellTimes();
    lay();
  }, CLOCK_SECONDS * 1000);
  setTimeout(look, LOOK_SECONDS * 1000);
})();
