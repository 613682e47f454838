/* What the browser does for the chat by itself: the heartbeat, Enter in the message box, the scroll
   to a new answer, light and dark, and what a reload needs, which stays in this tab. No external
   resources. `style` is the style sheet of one view of the chat, and tells when that comes onto a
   page. Two hidden text boxes are the line to the kernel, and their placeholders the line back. */
(function start(style) {
  const root = style.closest(".lcrs");
  if (!root || root.dataset.alive) return;
  const parts = [".lcrs-log", ".lcrs-compose textarea", ".lcrs-wire input", ".lcrs-ping input",
    ".lcrs-tools .lcrs-actions"];
  if (!parts.every(part => root.querySelector(part))) return setTimeout(start, 50, style);
  root.dataset.alive = "yes";

  const TALK = "latentcrs-talk", DRAFT = "latentcrs-draft", LOOK = "latentcrs-look";
  const SILENCE = 10000, EVERY = 4000; // milliseconds until a silent kernel is lost; between beats
  const NARROW = 720; // pixels
  const LOST = `Connection lost: the program behind this page has ended, or is busy. What you wrote
    stays in the box. If this does not pass, reload the page, and your talk is offered again. (If the
    server has ended, start it first: make chat. In JupyterLab, restart the kernel and run all cells.)`;
  const AGAIN = "Before this page was loaded again, there was a talk in this tab.";
  const LOOKS = {Look: {System: "", Light: "light", Dark: "dark"}, Size: {Normal: "", Large: "large"}};

  const find = selector => root.querySelector(selector);
  const box = () => find(".lcrs-compose textarea");
  const isLost = () => root.classList.contains("lcrs-lost");
  const isBusy = () => find(".lcrs-busy") !== null;
  const latest = () => [...root.querySelectorAll(".lcrs-turn")].pop();
  const [ping, wire] = [find(".lcrs-ping input"), find(".lcrs-wire input")];
  const kept = () => wire.placeholder.startsWith("{") ? wire.placeholder : "";
  const fill = (input, text) => {
    input.value = text;
    for (const type of ["input", "change"]) input.dispatchEvent(new Event(type, {bubbles: true}));
  };
  const tell = what => fill(wire, JSON.stringify({at: Date.now(), ...what}));
  // a browser may refuse to store anything
  const recall = (store, key) => { try { return window[store].getItem(key) ?? ""; } catch { return ""; } };
  const keep = (store, key, text) => {
    try { text ? window[store].setItem(key, text) : window[store].removeItem(key); } catch { /* no */ }
  };
  const stop = event => { event.preventDefault(); event.stopImmediatePropagation(); };
  const make = (tag, style, words, act) => {
    const made = Object.assign(document.createElement(tag), {className: style, textContent: words});
    if (act) made.addEventListener("click", act);
    return made;
  };
  const button = (words, act) => make("button", "jupyter-button", words, act);

  // A screen reader hears each answer as a whole, as soon as it is done.
  const heard = make("div", "lcrs-heard", "");
  heard.setAttribute("role", "alert");
  let wasBusy = false, lastHeard = "";
  const hear = () => {
    if (isBusy() === wasBusy) return;
    wasBusy = !wasBusy;
    const parts = wasBusy ? [] : latest()?.querySelectorAll(".lcrs-it, .lcrs-note, .lcrs-title") ?? [];
    const words = [...parts].map(part => part.textContent).join(". ");
    heard.textContent = words === lastHeard ? "" : words;
    lastHeard = words || lastHeard;
  };

  // Heartbeat: the kernel gives each number back. Two views of one chat share the line, so a later
  // number will do.
  const note = make("div", "lcrs-lost-note", ""), save = make("a", "", "Save this talk");
  find(".lcrs-compose").before(note, heard);
  new MutationObserver(hear).observe(find(".lcrs-foot"), {childList: true, subtree: true});
  let asked = 0, since = Date.now();
  const lose = () => {
    root.classList.add("lcrs-lost");
    const talk = kept();
    save.href = `data:application/json;charset=utf-8,${encodeURIComponent(talk)}`;
    save.download = "latentcrs-saved.json";
    note.setAttribute("role", "alert");
    note.replaceChildren(`${LOST} `, ...(talk ? [save] : []));
  };
  const beat = () => {
    if (!root.isConnected) {
      clearInterval(timer);
      delete root.dataset.alive;
      for (const own of root.querySelectorAll(".lcrs-lost-note, .lcrs-heard, .lcrs-look, .lcrs-again, .lcrs-load")) own.remove();
      return;
    }
    const now = Date.now(), isCut = find(".jupyter-widgets-disconnected") !== null;
    const isAnswered = !isCut && (Number(ping.placeholder) || 0) >= asked;
    if (isAnswered) {
      since = now;
      root.classList.remove("lcrs-lost");
    } else if ((isCut || now - since > SILENCE) && !isLost()) lose();
    if (!isCut && now - asked > (isAnswered ? EVERY : SILENCE)) {
      asked = now;
      fill(ping, String(now));
    }
  };
  const timer = setInterval(beat, 1000);

  // Sending: Enter does, Shift+Enter begins a line; the text travels in one piece with the wish.
  let sent = 0;
  const send = () => {
    const text = box().value;
    sent = Date.now();
    fill(box(), "");
    tell({send: text});
  };
  // The next chip moves up into a button that is pressed. The last button goes, so its focus is
  // passed on: to the one before it, or where one writes.
  const pass = chip => {
    const row = chip.parentElement, home = row.closest(".lcrs-picker") ? find(".lcrs-find input") : box();
    const watch = new MutationObserver(() => {
      if (chip.isConnected) return;
      watch.disconnect();
      if (document.activeElement === document.body) ([...row.querySelectorAll(".lcrs-chip")].pop() ?? home).focus();
    });
    watch.observe(row, {childList: true});
    setTimeout(() => watch.disconnect(), SILENCE);
  };
  const enters = {".lcrs-person input": "start", ".lcrs-find input": "take"};
  root.addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.isComposing) return;
    if (event.target === box()) {
      event.stopPropagation();
      if (event.shiftKey) return;
      stop(event);
      if (!isLost() && !isBusy() && box().value.trim()) send();
    }
    for (const [place, name] of Object.entries(enters)) {
      if (!event.target.matches(place) || isLost()) continue;
      stop(event);
      const text = event.target.value;
      if (name === "take") fill(event.target, ""); // else its last letters may come after the wish
      tell({[name]: text});
    }
  }, true);
  root.addEventListener("input", event => {
    if (event.target === box()) keep("sessionStorage", DRAFT, box().value);
  }, true);
  root.addEventListener("click", event => {
    const pressed = event.target.closest("button");
    if (!pressed || pressed.closest(".lcrs-look")) return;
    if (isLost()) return stop(event);
    if (pressed.closest(".lcrs-ideas")) box().focus(); // the button leaves the screen
    if (pressed.matches(".lcrs-chip")) pass(pressed);
    if (!pressed.matches(".lcrs-send")) return;
    if (!isBusy() && box().value.trim()) { stop(event); send(); }
    else if (Date.now() - sent < 700) stop(event); // a double click is no wish to stop
  }, true);

  // A new turn comes to the top and stays there as it grows, until somebody scrolls.
  const scroll = find(".lcrs-scroll");
  let turn = latest(), isFree = turn !== undefined;
  const pin = () => {
    if (latest() !== turn) { turn = latest(); isFree = false; }
    if (isFree) return;
    const scrolls = getComputedStyle(scroll).overflowY === "auto" ? scroll : root;
    const top = (turn ?? (scrolls === root ? root : find(".lcrs-log"))).getBoundingClientRect().top;
    scrolls.scrollTop += top - scrolls.getBoundingClientRect().top;
  };
  const fit = () => root.classList.toggle("lcrs-narrow", root.clientWidth < NARROW);
  const pinAgain = () => { fit(); isFree = false; pin(); };
  new ResizeObserver(fit).observe(root);
  new ResizeObserver(pin).observe(find(".lcrs-log"));
  window.addEventListener("resize", pinAgain);
  for (const type of ["wheel", "touchmove", "pointerdown", "keydown"])
    scroll.addEventListener(type, () => { isFree = true; }, {passive: true});

  const load = button("Load", () => {
    const file = Object.assign(document.createElement("input"), {type: "file", accept: ".json"});
    file.onchange = async () => tell({load: await file.files[0].text()});
    file.click();
  });
  load.title = "Go on with a conversation that was exported (JSON)";
  load.classList.add("lcrs-load");
  find(".lcrs-tools .lcrs-actions").append(load);

  // The talk, as Export writes it, lives as long as this tab, and so does what is being written.
  const talk = recall("sessionStorage", TALK), draft = recall("sessionStorage", DRAFT);
  if (draft && !box().value) fill(box(), draft);
  if (talk && !turn) {
    const offer = make("div", "lcrs-again", AGAIN);
    offer.append(
      button("Load the last talk", () => { tell({load: talk}); offer.remove(); box().focus(); }),
      button("Forget it", () => { keep("sessionStorage", TALK, ""); offer.remove(); box().focus(); }),
    );
    find(".lcrs-hello").append(offer);
  }
  new MutationObserver(() => keep("sessionStorage", TALK, kept()))
    .observe(wire, {attributeFilter: ["placeholder"]});

  // Light, dark and large, remembered for all talks at this address.
  const look = make("div", "lcrs-look", "");
  let chosen = recall("localStorage", LOOK).split(" ");
  const dress = () => {
    look.replaceChildren(...Object.entries(LOOKS).flatMap(([heading, options]) => {
      const styles = Object.values(options).filter(Boolean);
      const now = styles.find(style => chosen.includes(style)) ?? "";
      for (const style of styles) root.classList.toggle(`lcrs-${style}`, style === now);
      const choices = Object.entries(options).map(([words, style]) => {
        const made = button(style === now ? `✓ ${words}` : words, () => {
          chosen = [...chosen.filter(other => !styles.includes(other)), style].filter(Boolean);
          keep("localStorage", LOOK, chosen.join(" "));
          dress();
          pinAgain();
          [...look.querySelectorAll("button")].find(b => b.textContent === `✓ ${words}`).focus();
        });
        made.setAttribute("aria-pressed", style === now);
        made.classList.toggle("lcrs-chosen", style === now);
        return made;
      });
      const row = make("div", "lcrs-one-of", "");
      row.append(make("span", "lcrs-small", heading), ...choices);
      return [row];
    }));
  };
  dress();
  pinAgain();
  find(".lcrs-head").append(look);
})(this);
