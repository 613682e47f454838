"""How the chat looks: one style sheet, no external resources.

Colours come from the notebook's own theme where it has one, so that light and dark both read
well; blue and orange tell apart without red or green, and every colour has words beside it.
"""

_COLOURS = """
.lcrs {
  --ink: var(--jp-content-font-color1, #1c2733);
  --soft: var(--jp-content-font-color2, #55616e);
  --paper: var(--jp-layout-color1, #ffffff);
  --raised: color-mix(in srgb, var(--ink) 5%, transparent);
  --line: var(--jp-border-color2, #d3dae1);
  --accent: #0a5f9e;
  --on-accent: #ffffff;
  --tint: #e3eef8;
  --warm: #a34a00;
  --before: #7b8794;
  color: var(--ink);
  font-family: var(--jp-ui-font-family, system-ui, sans-serif);
  font-size: 14px;
  line-height: 1.45;
  max-width: 1120px;
  position: relative;
  /* room for the ring of the focus, which JupyterLab would cut off */
  padding: 0 4px;
  box-sizing: border-box;
  container-type: inline-size;
}
[data-jp-theme-light="false"] .lcrs, .theme-dark .lcrs {
  --accent: #6db6ee;
  --on-accent: #08233a;
  --tint: #17324a;
  --warm: #ffb26b;
  --before: #a3afbb;
  color-scheme: dark;
}
"""

_FRAME = """
.lcrs, .lcrs .widget-box, .lcrs .widget-text { overflow: visible; }
.lcrs .widget-html, .lcrs .widget-html-content { margin: 0; line-height: 1.45;
  height: auto; min-height: 0; align-self: stretch; color: inherit; font-size: 14px; }
.lcrs .widget-html-content { width: 100%; }
.lcrs bdi { unicode-bidi: isolate; overflow-wrap: anywhere; }
.lcrs .lcrs-hidden { display: none; }
.lcrs-head { display: flex; flex-wrap: wrap; gap: 2px 16px; align-items: baseline;
  border-bottom: 2px solid var(--accent); padding: 4px 0 8px; margin-bottom: 10px; }
.lcrs-head h3 { font-size: 19px; line-height: 1.45; margin: 0; }
.lcrs-head span, .lcrs-label, .lcrs-small { color: var(--soft); }
.lcrs-main { flex-wrap: wrap; gap: 16px; align-items: stretch; }
.lcrs-left { flex: 3 1 430px; min-width: 0; gap: 8px; }
.lcrs-right { flex: 1 1 260px; min-width: 0; gap: 12px; }
.lcrs-right > * { background: var(--raised); border-radius: 10px; padding: 12px 14px;
  box-sizing: border-box; }
.lcrs .lcrs-right > .widget-html { padding: 12px 14px; }
.lcrs h4 { margin: 0 0 2px; font-size: 14px; line-height: 1.45; }
.lcrs-panel p, .lcrs-bars p { margin: 0 0 10px; font-size: 12px; color: var(--soft); }
"""

_PERSON = """
.lcrs-person { flex-wrap: wrap; gap: 6px 8px; align-items: center; }
.lcrs .lcrs-person .widget-text, .lcrs .lcrs-find .widget-text { width: max-content; height: auto;
  flex: none; max-width: 100%; }
.lcrs .lcrs-person .widget-label, .lcrs .lcrs-find .widget-label { width: auto; height: auto;
  font-size: 14px; color: var(--ink); align-self: center; }
.lcrs .lcrs-person .jupyter-widgets { margin: 0; }
.lcrs .lcrs-person input, .lcrs .lcrs-find input { height: 30px; border-radius: 8px; }
.lcrs .lcrs-person input { width: 120px; flex: none; }
.lcrs .lcrs-find input { width: 210px; flex: 0 1 auto; min-width: 0; }
.lcrs-glimpse { color: var(--soft); padding: 6px 0 10px; }
.lcrs-glimpse strong { color: var(--ink); font-weight: 600; }
.lcrs-picker { gap: 8px; background: var(--raised); border-radius: 10px; padding: 12px 14px;
  margin-bottom: 14px; box-sizing: border-box; }
.lcrs-find { flex-wrap: wrap; gap: 4px 12px; align-items: center; }
.lcrs .lcrs-find .jupyter-widgets { margin: 0; align-self: center; }
.lcrs .lcrs-grid { display: grid; gap: 6px;
  grid-template-columns: repeat(auto-fill, minmax(min(200px, 100%), 1fr)); }
.lcrs .lcrs-grid .jupyter-button { width: 100%; }
.lcrs-chips { flex-wrap: wrap; gap: 6px; align-items: center; }
.lcrs .lcrs-chips .widget-html { width: auto; align-self: center; }
.lcrs .jupyter-button.lcrs-chip { border-radius: 14px; height: 27px; line-height: 25px;
  border-color: var(--accent); background: var(--tint); max-width: 100%; }
"""

_TALK = """
.lcrs .lcrs-scroll { display: flex; flex-direction: column-reverse; overflow-y: auto;
  height: clamp(340px, 62vh, 640px); overflow-x: hidden; border: 1px solid var(--line);
  border-radius: 10px; background: var(--paper); box-sizing: border-box; }
.lcrs-log { padding: 12px; gap: 12px; margin-bottom: auto; box-sizing: border-box; width: 100%; }
.lcrs-turn { gap: 8px; flex: none; }
.lcrs-me, .lcrs-it { max-width: 86%; width: fit-content; padding: 7px 12px; border-radius: 12px;
  white-space: pre-wrap; box-sizing: border-box; }
.lcrs-me { margin-left: auto; background: var(--accent); color: var(--on-accent);
  border-bottom-right-radius: 3px; max-height: 190px; overflow-y: auto; }
.lcrs-it { background: var(--tint); color: var(--ink); border-bottom-left-radius: 3px; }
.lcrs-who { font-size: 12px; color: var(--soft); margin: 3px 2px 0; }
.lcrs-me + .lcrs-who { text-align: right; }
.lcrs-me .lcrs-wait { color: inherit; }
.lcrs-wait { color: var(--soft); font-style: italic; }
.lcrs-note { border-left: 3px solid var(--line); padding: 1px 0 1px 9px; margin: 6px 0 4px 2px;
  max-width: 86%; }
.lcrs-note.lcrs-gave-way { border-color: var(--warm); color: var(--warm); }
.lcrs .lcrs-cards { display: grid; gap: 8px;
  grid-template-columns: repeat(auto-fill, minmax(min(195px, 100%), 1fr)); }
.lcrs-card { border: 1px solid var(--line); border-radius: 10px;
  background: var(--paper); padding: 8px 10px 9px; gap: 7px; box-sizing: border-box;
  justify-content: space-between; }
.lcrs-card.lcrs-liked { border-color: var(--accent); box-shadow: inset 0 0 0 1px var(--accent); }
.lcrs-card.lcrs-refused { border-style: dashed; }
.lcrs-card.lcrs-refused .lcrs-title { color: var(--soft); text-decoration: line-through; }
.lcrs-title { font-weight: 600; line-height: 1.25; }
.lcrs-facts { font-size: 12px; color: var(--soft); margin-top: 2px; }
.lcrs-why { font-size: 12px; line-height: 1.4; margin-top: 5px; }
.lcrs-misses { color: var(--warm); }
.lcrs-choice { gap: 4px; flex-wrap: wrap; }
.lcrs-hello { text-align: center; padding: 26px 12px 8px; color: var(--soft); }
.lcrs-hello b { color: var(--ink); font-size: 16px; display: block; margin-bottom: 4px; }
.lcrs-ideas { gap: 8px; flex-wrap: wrap; justify-content: center; }
"""

_BUTTONS = """
.lcrs .jupyter-button { border-radius: 8px; width: auto; height: 30px; line-height: 28px; margin: 0;
  padding: 0 12px; border: 1px solid var(--line); background: var(--paper); color: var(--ink);
  box-shadow: none; font-size: 13px; flex: none; }
.lcrs .jupyter-button:hover { border-color: var(--accent); color: var(--accent); }
.lcrs .jupyter-button.lcrs-off { color: var(--soft); border-style: dashed; }
.lcrs .jupyter-button.lcrs-chosen { border-color: var(--accent); color: var(--accent);
  font-weight: 600; }
/* !important: the widgets' own sheet takes the outline of inputs away with it */
.lcrs .jupyter-button:focus-visible, .lcrs input:focus-visible,
.lcrs a:focus-visible { outline-offset: 1px; outline: 2px solid var(--accent) !important; }
.lcrs .lcrs-choice .jupyter-button { height: 25px; line-height: 23px; padding: 0 5px;
  font-size: 12px; flex: 1 1 auto; }
.lcrs .jupyter-button.lcrs-send { background: var(--accent); border-color: var(--accent);
  color: var(--on-accent); font-weight: 600; height: 36px; padding: 0 20px; }
.lcrs .jupyter-button.lcrs-send:hover { color: var(--on-accent); filter: brightness(1.1); }
.lcrs-compose { gap: 8px; align-items: center; }
.lcrs .lcrs-compose .widget-text { flex: 1 1 auto; width: auto; height: auto; margin: 0;
  min-width: 0; }
.lcrs .lcrs-compose .widget-label, .lcrs-heard { position: absolute; width: 1px; height: 1px;
  overflow: hidden; clip-path: inset(50%); }
.lcrs .jupyter-button, .lcrs input { scroll-margin: 12px; }
.lcrs .lcrs-compose input { height: 36px; border-radius: 8px; font-size: 14px; padding: 0 12px; }
.lcrs input { background: var(--paper); color: var(--ink); border: 1px solid var(--line); }
.lcrs-actions { gap: 6px 8px; flex-wrap: wrap; align-items: center; }
.lcrs-one-of { gap: 5px; flex-wrap: wrap; align-items: center; }
.lcrs .lcrs-one-of .widget-html { width: auto; align-self: center; }
.lcrs .lcrs-one-of .jupyter-button { height: 27px; line-height: 25px; padding: 0 7px;
  font-size: 12px; }
.lcrs .lcrs-settings { gap: 8px; margin-bottom: 10px; }
.lcrs .lcrs-settings .widget-html { width: 100%; font-size: 13px; }
.lcrs .lcrs-drive .lcrs-actions .jupyter-button { padding: 0 9px; }
.lcrs-drive .lcrs-small { margin-top: 8px; font-size: 13px; color: var(--ink); }
.lcrs-files a { color: var(--accent); text-decoration: underline; margin-right: 16px;
  line-height: 26px; border-radius: 3px; }
"""

_STATUS = """
.lcrs-status { padding: 1px 2px; min-height: 21px; position: relative; }
.lcrs-status i { display: inline-block; width: 9px; height: 9px; border-radius: 50%;
  margin-right: 7px; background: var(--before); }
.lcrs-status.lcrs-busy i { background: var(--accent);
  animation: lcrs-pulse 1.1s infinite alternate; }
.lcrs-status.lcrs-busy::after { content: ""; position: absolute; left: 0; bottom: -4px; height: 2px;
  width: 25%; background: var(--accent); border-radius: 1px;
  animation: lcrs-run 1.6s infinite alternate ease-in-out; }
.lcrs-status.lcrs-problem { color: var(--warm); font-weight: 600; }
.lcrs-status.lcrs-problem i { background: var(--warm); border-radius: 2px; }
"""

_BARS = """
.lcrs-bar { margin-bottom: 10px; }
.lcrs-name { font-size: 13px; line-height: 1.25; overflow-wrap: anywhere; }
.lcrs-track { position: relative; height: 11px; margin: 3px 0 2px; border-radius: 3px;
  background: color-mix(in srgb, var(--ink) 10%, transparent); }
.lcrs-fill { height: 100%; border-radius: 3px; background: var(--accent); width: var(--now);
  animation: lcrs-grow .6s ease-out; }
.lcrs-mark { position: absolute; top: -3px; bottom: -3px; width: 2px;
  left: max(0px, calc(var(--was) - 2px)); background: var(--ink); }
.lcrs-value { font-size: 12px; color: var(--soft); }
.lcrs-value b { color: var(--ink); }
"""

_MOTION_AND_WIDTH = """
@keyframes lcrs-grow { from { width: var(--was); } to { width: var(--now); } }
@keyframes lcrs-pulse { from { opacity: 1; } to { opacity: .35; } }
@keyframes lcrs-run { from { left: 0; } to { left: 75%; } }
@media (prefers-reduced-motion: reduce) { .lcrs * { animation: none !important; } }
@container (max-width: 520px) {
  .lcrs .lcrs-scroll { height: min(560px, 75vh); }
  .lcrs .lcrs-scroll:has(.lcrs-hello) { height: auto; }
  .lcrs .lcrs-grid { grid-template-columns: 1fr 1fr; }
  .lcrs .lcrs-grid .jupyter-button { padding: 0 6px; font-size: 12px; }
  .lcrs-me, .lcrs-it, .lcrs-note { max-width: 96%; }
  .lcrs-choice .jupyter-button { flex: 0 1 auto; padding: 0 10px; }
}
"""

STYLE = (
    "<style>"
    + "".join((_COLOURS, _FRAME, _PERSON, _TALK, _BUTTONS, _STATUS, _BARS, _MOTION_AND_WIDTH))
    + "</style>"
)
