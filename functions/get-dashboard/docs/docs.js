import { connectSearch } from './search.js';

connectSearch(document.querySelector('form[role=search]'));

// Each code block gets a button that copies it.
for (const block of document.querySelectorAll('.code')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(block.querySelector('code').textContent);
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });
  block.append(button);
}

// A box that scrolls can be scrolled with the keyboard.
for (const box of document.querySelectorAll('.table, pre')) {
  if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
}

// The chosen language holds for all samples, on all pages.
const LANGUAGE = 'docs.language';
const choose = (language) => {
  for (const input of document.querySelectorAll('.samples input')) {
    if (input.value === language) input.checked = true;
  }
};
choose(localStorage.getItem(LANGUAGE));
for (const input of document.querySelectorAll('.samples input')) {
  input.addEventListener('change', () => {
    localStorage.setItem(LANGUAGE, input.value);
    choose(input.value);
  });
}

// The navigation shows the entry of the current page.
const [navigation, current] = [document.querySelector('nav'), document.querySelector('[aria-current=page]')];
if (current) navigation.scrollTop = current.offsetTop - navigation.clientHeight / 2;
