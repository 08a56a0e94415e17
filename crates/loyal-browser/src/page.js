// What our scripts share inside a page, in a world of their own that the page cannot see.
(() => {
  if (globalThis.loyal) return;
  const loyal = { seen: [], changes: 0, stop: null };
  globalThis.loyal = loyal;
  new MutationObserver(list => { loyal.changes += list.length; })
    .observe(document, { subtree: true, childList: true, attributes: true, characterData: true });

  const after = (ms) => new Promise(done => setTimeout(done, ms));
  const frame = () => Promise.race([new Promise(done => requestAnimationFrame(() => setTimeout(done))), after(60)]);
  const kind = el => (el.type || '').toLowerCase();
  const tag = el => (el.localName || '').toLowerCase();
  const up = node => node.assignedSlot || node.parentNode || node.host;
  const within = (node, outer) => { for (; node; node = up(node)) if (node === outer) return true; return false; };

  // Notes trusted events that reach an element, for one action.
  loyal.arm = (el, kinds) => {
    if (loyal.stop) loyal.stop();
    loyal.seen = [];
    const before = loyal.changes;
    const on = event => { if (event.isTrusted && !loyal.seen.includes(event.type)) loyal.seen.push(event.type); };
    kinds.forEach(name => el.addEventListener(name, on, { capture: true, passive: true }));
    loyal.stop = () => { kinds.forEach(name => el.removeEventListener(name, on, { capture: true })); loyal.stop = null; };
    return { before, ...loyal.look(el) };
  };

  // Waits until the page has drawn, and a little longer while it changes.
  loyal.calm = async (before, most) => {
    const end = performance.now() + most;
    await frame();
    let changes = loyal.changes;
    const changed = changes !== before;
    if (changed) {
      for (;;) {
        await frame();
        if (loyal.changes === changes || performance.now() > end) break;
        changes = loyal.changes;
      }
    }
    if (loyal.stop) loyal.stop();
    return { seen: loyal.seen, changed, changes: loyal.changes };
  };

  // Waits until nothing has changed for a time.
  loyal.quiet = async (quiet, most) => {
    const end = performance.now() + most;
    let changes = loyal.changes, since = performance.now();
    while (performance.now() < end && performance.now() - since < quiet) {
      await after(20);
      if (loyal.changes !== changes) { changes = loyal.changes; since = performance.now(); }
    }
    return loyal.changes;
  };

  loyal.look = el => ({
    connected: el.isConnected,
    tag: tag(el), type: kind(el),
    disabled: !!(el.matches && el.matches(':disabled')) || el.getAttribute?.('aria-disabled') === 'true',
    readonly: !!el.readOnly,
    editable: !!el.isContentEditable,
    value: loyal.value(el),
    checked: el.checked ?? (el.getAttribute?.('aria-checked') === 'true'),
    multiple: !!el.multiple,
  });
  loyal.value = el => {
    if (tag(el) === 'select') return [...el.selectedOptions].map(option => option.label).join(', ');
    if (kind(el) === 'file') return [...el.files].map(file => file.name).join(', ');
    if ('value' in el && ['input', 'textarea'].includes(tag(el))) return String(el.value);
    return el.isContentEditable ? el.innerText : null;
  };

  // Whether a hit counts for a target: itself, something in it, its label, or what it labels.
  loyal.counts = (hit, el) => {
    if (within(hit, el) || el.nodeType !== 1 && hit === el.parentNode) return true;
    for (const label of el.labels || []) if (within(hit, label)) return true;
    return false;
  };
  loyal.name = el => {
    const node = el.nodeType === 1 ? el : el.parentElement || el.getRootNode().host;
    if (!node || !node.localName) return 'something';
    const words = (node.getAttribute('aria-label') || node.innerText || '').trim().replace(/\s+/g, ' ').slice(0, 60);
    return `<${tag(node)}${node.id ? ' id=' + node.id : ''}>${words ? ' "' + words + '"' : ''}`;
  };
  loyal.label = el => (el.labels && el.labels[0]) || null;
  loyal.up = el => el.nodeType === 1 ? el : (el.parentElement || el.getRootNode().host);

  // Sets a value as the page's own scripts would notice it.
  const fire = (el, name) => el.dispatchEvent(new Event(name, { bubbles: true, composed: true }));
  loyal.set = (el, value) => {
    const proto = tag(el) === 'textarea' ? HTMLTextAreaElement : tag(el) === 'select' ? HTMLSelectElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(proto.prototype, 'value').set.call(el, value);
    fire(el, 'input'); fire(el, 'change');
    return loyal.value(el);
  };
  loyal.choose = (el, wanted) => {
    const options = [...el.options];
    const plain = text => (text || '').trim().replace(/\s+/g, ' ');
    const picks = wanted.map(want => options.find(o => plain(o.label) === plain(want) || plain(o.text) === plain(want))
      || options.find(o => o.value === want));
    const missing = wanted.filter((_, i) => !picks[i]);
    if (missing.length) return { missing, options: options.slice(0, 50).map(o => o.label) };
    if (picks.some(o => o.disabled || (o.parentElement && o.parentElement.disabled))) return { off: true };
    if (el.multiple) options.forEach(o => { o.selected = picks.includes(o); });
    else el.selectedIndex = options.indexOf(picks[picks.length - 1]);
    el.focus(); fire(el, 'input'); fire(el, 'change');
    return { value: loyal.value(el), good: picks.every(o => o.selected) };
  };
  loyal.clear = el => {
    el.focus();
    if (el.select) el.select();
    else { const range = document.createRange(); range.selectNodeContents(el);
      const s = getSelection(); s.removeAllRanges(); s.addRange(range); }
    return { focused: el === el.getRootNode().activeElement || within(document.activeElement, el), ...loyal.look(el) };
  };
  loyal.commit = el => { fire(el, 'change'); return loyal.value(el); };
  loyal.caret = el => {
    el.focus();
    if (el.setSelectionRange) { try { el.setSelectionRange(el.value.length, el.value.length); } catch { } }
    else if (el.isContentEditable) getSelection().selectAllChildren(el), getSelection().collapseToEnd();
    return el === el.getRootNode().activeElement;
  };

  loyal.scrolled = el => {
    const all = [];
    for (let node = el; node; node = up(node)) if (node.nodeType === 1) all.push(Math.round(node.scrollLeft), Math.round(node.scrollTop));
    all.push(Math.round(scrollX), Math.round(scrollY));
    return all.join();
  };
  loyal.scrolledAt = (x, y) => loyal.scrolled(document.elementFromPoint(x, y) || document.documentElement);
  loyal.scrollRest = async (read, before) => {
    let now = read(), still = 0;
    for (let i = 0; i < 60 && still < (now === before ? 12 : 4); i++) {
      await frame();
      const next = read();
      still = next === now ? still + 1 : 0;
      now = next;
    }
    return now;
  };
  loyal.text = el => {
    const node = el || document.body;
    return node ? (node.innerText ?? node.textContent ?? '') : '';
  };
  loyal.says = words => (document.body ? document.body.innerText : '').includes(words);

  const frames = el => {
    if (el.getVideoPlaybackQuality && el.videoWidth) {
      const q = el.getVideoPlaybackQuality(); return [q.totalVideoFrames, q.droppedVideoFrames];
    }
    return [null, null];
  };
  loyal.media = el => {
    const [total, dropped] = frames(el);
    return {
      position: el.currentTime, duration: Number.isFinite(el.duration) ? el.duration : null, paused: el.paused,
      ended: el.ended, muted: el.muted, volume: el.volume, frames_total: total, frames_dropped: dropped,
      error: el.error ? (el.error.message || 'code ' + el.error.code) : null, source: el.currentSrc,
    };
  };
  loyal.largest = () => {
    const found = [];
    const walk = root => root.querySelectorAll('*').forEach(el => {
      if (el instanceof HTMLMediaElement) found.push(el);
      if (el.shadowRoot) walk(el.shadowRoot);
    });
    walk(document);
    const size = el => { const r = el.getBoundingClientRect(); return r.width * r.height + (el.localName === 'video' ? 1 : 0); };
    return found.sort((a, b) => size(b) - size(a))[0] || null;
  };
  loyal.play = async el => { try { await Promise.race([el.play(), after(3000)]); return null; } catch (e) { return String(e); } };
  loyal.seek = async (el, to) => {
    const done = new Promise(go => el.addEventListener('seeked', go, { once: true }));
    el.currentTime = to;
    await Promise.race([done, after(3000)]);
    return loyal.media(el);
  };
})();
