"""Common given names of many languages, written down for this project: a capitalised word that is one is likely a
person.

Names that are as often another word (Mark, Will, Grace, Hope, May, Rose, Art …) are left out. Read by `person`.
"""

GIVEN_NAMES = frozenset(
    """
    Aaron Abdul Abdullah Abigail Abraham Adam Adriana Adrian Adriano Agnes Agnieszka Ahmad Ahmed Aiko Aisha Alan
    Albert Alberto Alejandra Alejandro Aleksander Aleksandra Alessandra Alessandro Alex Alexander Alexandra
    Alexandre Alexei Alexis Alfonso Alfred Ali Alice Alicia Alina Alison Allison Alonso Alvaro Amanda Amelia Amina
    Amir Amit Amy Ana Anastasia Anders Andrea Andreas Andrei Andres Andrew Andrzej Andy Angela Angelika Angelina
    Angelo Anita Anja Anjali Ann Anna Anne Annette Annie Anthony Antoine Anton Antonia Antonio Antonina Anya Arjun
    Arnaud Arthur Arturo Ashley Astrid Audrey August Ayesha Barbara Bartosz Beatrice Beatriz Ben Benjamin Benoit
    Bernard Bernd Bernhard Bianca Birgit Bjorn Bogdan Boris Brandon Brenda Brian Bridget Brigitte Bruce Bruno Camila
    Camille Carla Carlos Carmen Carol Carolina Caroline Catarina Caterina Catherine Cathy Cecilia Celine Charles
    Charlotte Chen Chiara Chloe Chris Christian Christina Christine Christoph Christophe Christopher Claire Clara
    Claude Claudia Claus Clemens Clement Colin Connor Constantin Cristina Cynthia Daisuke Daniel Daniela Danielle
    Danny Dario David Deborah Debra Denis Dennis Derek Diana Diane Diego Dieter Dimitri Dirk Dmitri Dmitry Dominic
    Dominik Donald Donna Dora Dorothy Douglas Dylan Eduardo Edward Edwin Eileen Ekaterina Elena Eleanor Eleni Elias
    Elif Elisa Elisabeth Elizabeth Ella Ellen Emil Emilia Emilie Emily Emma Emmanuel Enrico Enrique Eric Erica Erik
    Erika Ernst Esther Ethan Eugene Eva Evelyn Ewa Fabian Fabio Farah Fatima Federica Federico Felipe Felix Fernanda
    Fernando Filip Filippo Florence Florian Francesca Francesco Francis Francisca Francisco Francois Frank Franz
    Freddy Frederic Frederick Fredrik Friedrich Gabriel Gabriela Gabriele Gary Gavin Geoffrey George Georg Georgia
    Gerald Gerard Gerhard Giacomo Gianni Gilbert Giovanni Giulia Giuseppe Gloria Gonzalo Gordon Greg Gregor Gregory
    Greta Guido Guillaume Guillermo Gunther Gustav Gustavo Hannah Hanna Hans Harald Harold Harry Hassan Heather
    Hector Heidi Heinrich Heinz Helen Helena Helene Helga Helmut Henri Henrik Henry Herbert Hermann Hiroshi Holger
    Howard Hugo Hussein Ian Ibrahim Igor Ilse Imran Ines Inga Ingrid Irene Irina Isabel Isabella Isabelle Ivan Ivana
    Jacob Jacqueline Jacques Jakob Jakub James Jamie Jana Jane Janet Janice Jason Javier Jean Jeffrey Jennifer Jens
    Jeremy Jerome Jerry Jessica Jesus Jill Jim Jimmy Joan Joanna Joao Joaquin Joe Joel Johan Johann Johanna Johannes
    John Johnny Jolanta Jon Jonas Jonathan Jorge Jose Josef Joseph Josephine Joshua Joyce Juan Juana Judith Judy
    Julia Julian Juliana Julie Julien Juliette Julio Jun Jurgen Justin Kaito Karen Karin Karl Karla Karolina
    Kateryna Katarina Kate Katharina Katherine Kathleen Kathryn Kathy Katja Kazuki Keiko Keith Kelly Kenji Kenneth
    Kenta Kevin Khalid Kim Kirsten Klaus Konrad Kristen Kristina Krzysztof Kumar Kyle Lars Larry Laura Laurent
    Lauren Lea Leah Leila Lena Lennart Leo Leon Leonard Leonardo Leonie Leslie Li Liam Lidia Liliana Linda Lisa
    Lorenzo Lotte Louis Louisa Louise Luca Lucas Lucia Lucie Lucy Ludwig Luigi Luis Luisa Luka Lukas Lydia Lynn
    Maciej Madeleine Magdalena Magnus Mahmoud Malgorzata Manfred Manuel Manuela Marc Marcel Marcela Marcello Marcin
    Marco Marcos Marcus Margaret Margarita Margot Maria Mariam Marian Mariana Marianne Marie Marija Marina Mario
    Marion Marisa Marjorie Marko Markus Marlene Marta Martha Martin Martina Martine Mary Maryam Masashi Mateo
    Mateusz Mathias Mathieu Matilda Matteo Matthew Matthias Maureen Maurice Mauro Max Maximilian Megan Mehmet Mei
    Melanie Melissa Mercedes Mia Michael Michaela Michal Michel Michele Michelle Miguel Mikael Mikhail Milan Milena
    Mohamed Mohammad Mohammed Monica Monika Monique Morten Muhammad Mustafa Nadia Nadine Nancy Naoko Naomi Natalia
    Natalie Natasha Nathan Nathalie Nicholas Nick Nicola Nicolas Nicole Niels Nikita Nikola Nikolai Nikos Nils Nina
    Noah Noemi Nora Norbert Norman Nuria Olaf Oleg Olga Oliver Olivia Olivier Omar Oscar Oskar Otto Pablo Pamela
    Paola Paolo Patricia Patrick Patrik Paul Paula Paulina Pauline Paulo Pavel Pawel Pedro Per Peter Petra Philip
    Philipp Philippe Phillip Pierre Pietro Piotr Priya Rachel Rafael Rahul Raj Rajesh Ralf Ralph Ramon Raquel Raul
    Ravi Raymond Rebecca Regina Reinhard Renata Renate Rene Ricardo Riccardo Richard Rita Robert Roberta Roberto
    Robin Rodrigo Roger Roland Rolf Roman Ronald Rosa Rosemary Roxana Rudolf Ruth Ryan Sabine Sabrina Salma
    Salvatore Sam Samantha Samir Samuel Sandra Sanjay Sara Sarah Sato Scott Sean Sebastian Selma Serena Sergei
    Sergey Sergio Seth Sharon Sheila Shirley Silvia Simon Simona Simone Sinead Sofia Sonia Sonja Sophia Sophie
    Stanislaw Stefan Stefanie Stefano Stella Stephan Stephanie Stephen Steve Steven Stuart Sunita Susan Susana
    Susanne Suzanne Sven Svetlana Sylvia Sylvie Takashi Tamara Tanja Tanya Tara Tatiana Ted Teresa Thea Theo Theodor
    Theresa Therese Thierry Thomas Tiago Tim Timo Timothy Tina Tobias Tom Tomas Tomasz Tommy Toni Tony Torsten Tracy
    Ulrich Ulrike Ursula Uwe Valentin Valentina Valeria Valerie Vanessa Vera Veronica Veronika Vicente Victor
    Victoria Viktor Viktoria Vincent Vincenzo Virginia Vivian Vladimir Walter Wanda Wei Wendy Werner Wilhelm William
    Wojciech Wolfgang Xavier Yasmin Yolanda Yuki Yuri Yusuf Yves Yvonne Zachary Zahra Zofia Zoe Zsofia Zuzana
    """.split()  # noqa: SIM905 - a list of words reads better as words
)
