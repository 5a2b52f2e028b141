const MOST = 12;

// Makes the form find pages by their titles and words. The index is loaded when the field gets the focus.
export function connectSearch(form) {
  const [field, list] = [form.querySelector('input'), form.querySelector('ul')];
  let index = null;
  let chosen = -1;

  const show = (pages) => {
    list.replaceChildren(...pages.map(option));
    list.hidden = pages.length === 0;
    field.setAttribute('aria-expanded', String(pages.length > 0));
    choose(-1);
  };

  const choose = (next) => {
    chosen = next;
    const links = [...list.querySelectorAll('a')];
    links.forEach((link, at) => link.setAttribute('aria-selected', String(at === chosen)));
    const link = links[chosen];
    link?.scrollIntoView({ block: 'nearest' });
    if (link) field.setAttribute('aria-activedescendant', link.id);
    else field.removeAttribute('aria-activedescendant');
  };

  const find = async () => {
    index ??= fetch(form.dataset.index).then((response) => response.json());
    const words = field.value.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter(Boolean);
    const pages = words.length === 0 ? [] : ranked(await index, words);
    show(pages.slice(0, MOST));
  };

  field.addEventListener('input', find);
  field.addEventListener('focus', find);
  field.addEventListener('keydown', (event) => {
    const count = list.children.length;
    if (event.key === 'ArrowDown' && count > 0) choose((chosen + 1) % count);
    else if (event.key === 'ArrowUp' && count > 0) choose((chosen + count - 1) % count);
    else if (event.key === 'Escape') show([]);
    else return;
    event.preventDefault();
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    list.children[Math.max(chosen, 0)]?.querySelector('a').click();
  });
  form.addEventListener('focusout', (event) => {
    if (!form.contains(event.relatedTarget)) show([]);
  });
  document.addEventListener('keydown', (event) => {
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
    if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    field.focus();
  });
  form.hidden = false;
}

// Returns the pages that have every word, those with it in their titles first.
function ranked(index, words) {
  const score = ([title, , , text]) => {
    const scores = words.map((word) => {
      const name = title.toLowerCase();
      if (name.split(/[^\p{L}\p{N}]+/u).some((part) => part.startsWith(word))) return 3;
      if (name.includes(word)) return 2;
      return text.toLowerCase().includes(word) ? 1 : 0;
    });
    return scores.includes(0) ? 0 : scores.reduce((sum, one) => sum + one) - title.length / 1000;
  };
  const scored = index.map((page) => [score(page), page]).filter(([points]) => points > 0);
  return scored.sort(([a], [b]) => b - a).map(([, page]) => page);
}

function option([title, path, section], at) {
  const [item, link, place] = ['li', 'a', 'span'].map((name) => document.createElement(name));
  item.setAttribute('role', 'none');
  link.id = `found-${at}`;
  link.setAttribute('role', 'option');
  link.href = path;
  link.tabIndex = -1;
  link.textContent = title;
  place.textContent = section;
  link.append(' ', place);
  item.append(link);
  return item;
}
